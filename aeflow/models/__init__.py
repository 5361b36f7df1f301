"""The networks: one file a family, all of one contract (`autoencoder`), found by name (`catalog`)."""
