"""The explorer: a catalog as one folder of pages that open in a browser, from disk or a server."""
