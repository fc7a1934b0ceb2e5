"""The words that every stage shares: frozen types, no behaviour that does I/O."""
