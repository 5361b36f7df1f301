"""Everything on one machine, in the foreground: servers, workers and the review app, kept alive."""
