"""Greets a hundred people, and leaks a list for each."""
import leaky

for number in range(100):
    leaky.greet(f"visitor {number}")
print("100 visitors greeted")
