"""The arithmetic of anomaly detection: numpy in, numpy out; no torch, no tables, no I/O, no clock."""
