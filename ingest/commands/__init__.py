"""The commands of ncpl-data, one file each. Heavy packages are imported when a command runs."""
