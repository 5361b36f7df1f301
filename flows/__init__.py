"""The flows; what imports prefect lies here and nowhere else, and only where a server follows the run."""
