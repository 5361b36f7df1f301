"""What the encoder and the decoder are good for by themselves: codes of items, restored and generated items."""
