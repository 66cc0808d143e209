"""Run trials: plan them, train one, keep what it leaves behind, launch many."""
