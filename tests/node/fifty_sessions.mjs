// Fifty clients of the TypeScript SDK at once: connect, list, call. Prints a line of JSON each.
//
//     node fifty_sessions.mjs http://127.0.0.1:8081/sse 50

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";

const [url, count] = process.argv.slice(2);

async function talk(number) {
  const client = new Client({ name: `client ${number}`, version: "1" });
  await client.connect(new SSEClientTransport(new URL(url)));
  const { tools } = await client.listTools();
  const echo = await client.callTool({ name: "echo", arguments: { message: `I am ${number}` } });
  const sum = await client.callTool({ name: "add", arguments: { a: number, b: 1000 } });
  return {
    number,
    client,
    tools: tools.map((tool) => tool.name),
    echo: echo.content[0].text,
    sum: sum.content[0].text,
  };
}

const talks = await Promise.all(Array.from({ length: Number(count) }, (_, i) => talk(i)));
const health = await (await fetch(new URL("/health", url))).json();
console.log(JSON.stringify({ connections: health.connections }));
for (const { client, ...said } of talks) {
  console.log(JSON.stringify(said));
  await client.close();
}
