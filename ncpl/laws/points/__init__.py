"""Public points the laws are checked on; ORIGIN.md says where each file is from."""
