"""Read finished trials: tables and figures. Never imports torch, ray or scconv."""
