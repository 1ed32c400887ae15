"""The statistical gate: what frequencies can tell, and what they would have caught."""
