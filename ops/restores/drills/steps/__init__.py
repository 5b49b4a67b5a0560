"""What is tried of each kind of backup, from the weakest check to the strongest."""
