// A client of the official TypeScript SDK over HTTP+SSE: it lists the tools, or calls one.
//
//     npm install --prefix scripts/07_sdk_client/node
//     node scripts/07_sdk_client/node/client.mjs http://127.0.0.1:8000/sse
//     node scripts/07_sdk_client/node/client.mjs http://127.0.0.1:8000/sse add 2 5
//
// Arguments come in the order of the tool's schema, or as one JSON object: '{"a": 2, "b": 5}'.
// Exit status 0, or 1 and a line that says what is wrong.

import path from "node:path";
import { fileURLToPath } from "node:url";

const USAGE = "Usage: node client.mjs [--conversation] [--timeout SECONDS] URL [TOOL [VALUE …]]";

// An expected failure: its text is all the user needs.
class Failure extends Error {}

// What a server sends is shown and never obeyed: no control characters reach a terminal.
function printable(text) {
  return text.replace(/[^\P{C}\n\t]/gu, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}

function print(text) {
  console.log(printable(text));
}

// --- The command line ---------------------------------------------------------------------

function commandLine(given) {
  const options = { conversation: false, timeout: 30 };
  const rest = [...given];
  // Options come before the URL: what follows a tool may well begin with a minus.
  while (rest[0]?.startsWith("--")) {
    const name = rest.shift();
    if (name === "--conversation") options.conversation = true;
    else if (name === "--timeout") options.timeout = Number(rest.shift());
    else throw new Failure(USAGE);
  }
  const [url, tool, ...values] = rest;
  if (!(options.timeout > 0) || !/^https?:/.test(url ?? "") || !URL.canParse(url)) {
    throw new Failure(USAGE);
  }
  return { ...options, url: new URL(url), tool, values };
}

// --- Connecting ---------------------------------------------------------------------------

async function loadSdk() {
  try {
    const [client, sse] = await Promise.all([
      import("@modelcontextprotocol/sdk/client/index.js"),
      import("@modelcontextprotocol/sdk/client/sse.js"),
    ]);
    return { ...client, ...sse };
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    const here = path.relative("", fileURLToPath(new URL(".", import.meta.url))) || ".";
    throw new Failure(`The TypeScript SDK is not installed. Once: npm install --prefix ${here}`);
  }
}

// Everything that goes over the wire as JSON-RPC passes `send` or `onmessage`.
function transcribe(transport) {
  let number = 0;
  const show = (direction, message) => {
    number += 1;
    print(`${number}  ${direction}  ${JSON.stringify(message)}`);
  };
  const send = transport.send.bind(transport);
  transport.send = (message, options) => {
    show("client → server", message);
    return send(message, options);
  };
  // The Client keeps a handler that is there already, and calls it first.
  transport.onmessage = (message) => show("server → client", message);
}

// The SDK has no limit of its own on the wait for the endpoint event.
async function within(seconds, promise, text) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Failure(text)), seconds * 1000);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

function whyNoStream(url, error, connected) {
  const reason = error.message.replace("SSE error: ", "");
  // An EventSource gives no reason when a stream ends.
  if (error.event.message === undefined) return "The stream ended, and with it the session";
  if (connected) return `The stream broke, and with it the session: ${reason}`;
  if (error.code === undefined) return `Nothing answers at ${url.origin}: ${reason}`;
  if (error.code === 200) return `${url} is not an event stream: ${reason}`;
  if (error.code === 404) return `${url.origin} has no ${url.pathname}. It is often /sse.`;
  return `${url} answered ${error.code}: ${reason}`;
}

// --- Listing and calling ------------------------------------------------------------------

// A server could name a next page for ever.
const MOST_PAGES = 100;

async function listTools(client) {
  const tools = [];
  let cursor;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const listed = await client.listTools({ cursor });
    tools.push(...listed.tools);
    cursor = listed.nextCursor;
    if (cursor === undefined) break;
  }
  return tools;
}

function show(tool) {
  const parameters = Object.entries(tool.inputSchema.properties ?? {});
  const names = parameters.map(([name, schema]) => `${name}:${schema.type ?? "any"}`);
  print(`  ${[tool.name, ...names].join(" ")}`);
  if (tool.description) print(`      ${tool.description}`);
}

// What is typed is text. The schema says what was meant; the server says if it is wrong.
function typed(text, schema) {
  if (schema.type === "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function toolArguments(tool, values) {
  if (values.length === 1 && values[0].startsWith("{")) {
    try {
      return JSON.parse(values[0]);
    } catch (error) {
      throw new Failure(`The arguments are not JSON: ${error.message}`);
    }
  }
  const parameters = Object.entries(tool.inputSchema.properties ?? {});
  if (values.length > parameters.length) {
    throw new Failure(`${tool.name} takes ${parameters.length} arguments, not ${values.length}`);
  }
  return Object.fromEntries(
    values.map((value, index) => {
      const [name, schema] = parameters[index];
      return [name, typed(value, schema)];
    }),
  );
}

async function call(client, tools, { tool: name, values, timeout }) {
  const tool = tools.find((each) => each.name === name);
  if (tool === undefined) {
    const names = tools.map((each) => each.name).join(", ");
    throw new Failure(`No tool is named ${name}. The tools are: ${names}`);
  }
  const result = await client.callTool(
    { name, arguments: toolArguments(tool, values) },
    undefined,
    {
      timeout: timeout * 1000,
      // A tool that reports progress is alive: keep waiting.
      resetTimeoutOnProgress: true,
      onprogress: ({ progress, total, message }) => {
        print(`${progress} of ${total ?? "?"}: ${message ?? ""}`);
      },
    },
  );
  const texts = result.content.map((each) => each.text ?? `(${each.type})`);
  // The call worked, the tool did not: the result says so, and nothing is thrown.
  if (result.isError) throw new Failure(texts.join("\n"));
  print(texts.join("\n"));
}

async function main() {
  const options = commandLine(process.argv.slice(2));
  const { url, timeout } = options;
  const { Client, SSEClientTransport, SseError } = await loadSdk();

  const client = new Client({ name: "node-client", version: "1.0.0" });
  const transport = new SSEClientTransport(url);
  if (options.conversation) transcribe(transport);

  // The SDK's EventSource reopens a broken stream, as any does. That is a new session,
  // to which nobody said initialize: for a client that asks once, it is over.
  const broken = new Promise((_, reject) => {
    client.onerror = (error) => {
      if (error instanceof SseError) reject(error);
    };
  });
  let connected = false;
  const talk = async () => {
    const late = `${url} did not shake hands within ${timeout} s: is it an MCP server over SSE?`;
    await within(timeout, client.connect(transport), late);
    connected = true;
    const tools = await listTools(client);
    if (options.tool !== undefined) return call(client, tools, options);
    const { name, version } = client.getServerVersion();
    print(`Connected to ${name} ${version}. Its tools:`);
    tools.forEach(show);
  };
  try {
    await Promise.race([talk(), broken]);
  } catch (error) {
    if (error instanceof SseError) throw new Failure(whyNoStream(url, error, connected));
    throw error;
  } finally {
    // An EventSource that is left open would try again for ever.
    await client.close();
  }
}

try {
  await main();
} catch (error) {
  console.error(printable(error.message));
  process.exitCode = 1;
}
