"""A run of the gate: its request, workers, conclusion and stored form."""
