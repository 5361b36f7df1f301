"""Where things lie: paths, ledger, claims, atomic publish, quarantine, digests."""
