"""What any of our servers needs: listening, a deadline on the request head, leaving in good order."""
