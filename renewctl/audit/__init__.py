"""What the store can show an auditor, and whether anybody changed it behind our back. Changes nothing."""
