// The TypeScript SDK's SSEServerTransport under Express, guarded only when it is told to:
//   node sse_server.mjs PORT [guarded]
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import express from 'express';
import { z } from 'zod';

const port = Number(process.argv[2]);
const host = `127.0.0.1:${port}`;
const guard = {
  enableDnsRebindingProtection: process.argv[3] === 'guarded',
  allowedHosts: [host],
  allowedOrigins: [`http://${host}`],
};
const transports = new Map();
const app = express();

app.get('/sse', async (request, response) => {
  const transport = new SSEServerTransport('/messages', response, guard);
  transports.set(transport.sessionId, transport);
  response.on('close', () => transports.delete(transport.sessionId));
  const server = new McpServer({ name: 'typescript', version: '1.0.0' });
  const add = ({ a, b }) => ({ content: [{ type: 'text', text: String(a + b) }] });
  server.registerTool('add', { inputSchema: { a: z.number(), b: z.number() } }, add);
  await server.connect(transport);
});

app.post('/messages', async (request, response) => {
  const transport = transports.get(request.query.sessionId);
  if (transport) await transport.handlePostMessage(request, response);
  else response.status(404).send('No such session');
});

app.listen(port, '127.0.0.1');
