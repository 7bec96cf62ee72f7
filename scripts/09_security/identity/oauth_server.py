"""Fixed: an MCP server over SSE that accepts only tokens that were issued for it.

    uv run scripts/09_security/identity/authorization_server.py
    uv run scripts/09_security/identity/oauth_server.py

OAUTH_ISSUER in the environment names another authorization server. Broken beside it:
resource_broken.py.
"""

import uvicorn
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings
from serving import begin, url_of
from starlette.applications import Starlette
from token_verifier import JwtVerifier, issuer_in

ISSUER = issuer_in()


def create_app(url: str) -> Starlette:
    """The server that is reached at `url`: tokens must say that they are for it."""
    server = MCPServer(
        "diary",
        token_verifier=JwtVerifier(ISSUER),
        # Read from strings: `AnyHttpUrl(ISSUER)` would end in a slash, and issuers are
        # compared letter by letter.
        auth=AuthSettings.model_validate(
            {
                "issuer_url": ISSUER,
                "resource_server_url": url,
                "required_scopes": ["diary"],
                "validate_token_resource": True,
            }
        ),
    )

    @server.tool()
    async def read_diary() -> str:
        """Read today's page of your own diary."""
        token = get_access_token()
        return f"The diary of {token.subject if token else 'nobody'}: tea with Bob at five."

    return server.sse_app()


def main() -> None:
    host, port = begin(
        "curl -i {url}", "uv run scripts/09_security/identity/oauth_client.py {url}", port=8069
    )
    app = create_app(url_of(host, port))
    uvicorn.run(app, host=host, port=port, timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
