"""The weather of this lesson: a table that needs no network.

Each city's average temperature in °C for January to December, over the years 1991 to 2020,
rounded. An average is not today's weather: the tool says so in its answer.
"""

CLIMATE: dict[str, tuple[int, ...]] = {
    "Berlin": (1, 2, 5, 10, 14, 18, 20, 19, 15, 10, 5, 2),
    "Cairo": (14, 15, 18, 22, 25, 28, 28, 28, 27, 24, 19, 15),
    "London": (6, 6, 8, 10, 14, 17, 19, 19, 16, 12, 9, 6),
    "New York": (1, 2, 6, 12, 17, 22, 25, 25, 21, 14, 9, 4),
    "Paris": (5, 6, 9, 12, 15, 19, 21, 20, 17, 13, 9, 6),
    "Sydney": (23, 23, 22, 19, 17, 14, 13, 14, 17, 19, 20, 22),
    "Tokyo": (5, 6, 9, 14, 19, 22, 26, 27, 23, 18, 12, 8),
}
