"""What an operator does with a stack that runs for years: back up, restore, diagnose, deploy, roll back."""
