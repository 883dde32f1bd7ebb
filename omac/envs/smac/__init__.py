"""StarCraft II behind the Battle contract, each game in a process of its own."""
