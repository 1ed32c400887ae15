"""The recorder of the fixtures."""
