"""Making the ledger anew from what is in the store."""
