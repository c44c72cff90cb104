"""The catalog: normalized runs in Parquet, frozen by manifests."""
