"""Pykka's side: an actor is a thread, so the counts are smaller."""
