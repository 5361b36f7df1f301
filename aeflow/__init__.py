"""aeflow: batch anomaly detection for images and time series."""
