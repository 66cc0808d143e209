"""Commands about a store, from any shell, also while a sweep runs: status, logs, ls, rm."""
