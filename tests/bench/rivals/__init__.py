"""What people use instead: programs of their own, started as they would start them."""
