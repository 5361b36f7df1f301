"""The seeded training loop: items on the device, early stop, checkpoints, precision."""
