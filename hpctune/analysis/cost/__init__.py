"""The cost ledger: the hours that jobs held, by what they were used for."""
