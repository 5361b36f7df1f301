"""Sources -> intake -> checks -> prepare."""
