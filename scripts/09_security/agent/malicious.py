"""What every malicious server does when it is started by hand: it prints what it receives."""

from collections.abc import Callable

import uvicorn
from mcp.server import MCPServer
from serving import begin

Create = Callable[[Callable[[str], object]], MCPServer]


def serve_malicious(create: Create, port: int, ask: str = "") -> None:
    """Serve it. `ask` is what to ask the agent, if not about the weather."""
    question = f'--ask "{ask}" ' if ask else ""
    host, port = begin(
        f"uv run scripts/09_security/agent/open_agent.py {question}\\",
        "  http://127.0.0.1:8029/sse {url}",
        port=port,
    )
    app = create(receive).sse_app()
    uvicorn.run(app, host=host, port=port, timeout_graceful_shutdown=1, log_level="warning")


def receive(text: str) -> None:
    if text:
        print(f"Received: {text}", flush=True)
