"""Exits with 0 if the server answers: the image's HEALTHCHECK.

    docker exec CONTAINER python health.py

Any answer will do, even 404: it shows that the event loop runs. A connection alone would not:
the kernel accepts it even if the server hangs. And a GET of /sse would open a session.
"""

import http.client
import os

connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8081")), 4)
connection.request("GET", "/health")
print(connection.getresponse().status)
