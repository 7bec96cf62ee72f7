// A conversation in two lanes, the browser and the server, with an arrow for each message.
// Text from the wire becomes text in the page: textContent never makes HTML of it.

const MOST_SHOWN = 20_000; // characters of a message: a megabyte freezes a page for seconds
const MOST_ROWS = 500; // in the page at once; earlier ones come back at the press of a button
const MOST_KEPT = 5_000; // a page that stays open for days can't keep every message

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function link(number) {
  const made = element("a", "", String(number));
  made.href = `#message-${number}`;
  return made;
}

// What kind of JSON-RPC message a text is; "" for anything else.
function kindOf(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return "";
  }
  if (message?.jsonrpc !== "2.0") return "";
  if (message.method !== undefined) return message.id === undefined ? "notification" : "request";
  return message.error === undefined ? "reply" : "error";
}

// The text as it went over the wire. JSON has no spaces there: let its lines break at commas.
function wire(text) {
  const block = element("pre", "");
  for (const part of text.slice(0, MOST_SHOWN).split(/(?<=,)/)) {
    block.append(part, document.createElement("wbr"));
  }
  if (text.length > MOST_SHOWN) block.append(` … ${text.length - MOST_SHOWN} characters more`);
  block.tabIndex = 0; // it may scroll
  return block;
}

// Below a long message: a button that shows all of it.
function showAll(card, text) {
  const button = element("button", "plain", `show all, ${text.length} characters`);
  button.type = "button";
  button.onclick = () => {
    card.querySelector("pre").textContent = text;
    card.classList.replace("long", "whole");
    button.remove();
    card.scrollIntoView({ block: "start" });
  };
  card.classList.add("long");
  card.append(button);
}

export class Conversation {
  #list;
  #scroller;
  #number = 0;
  #requests = new Map(); // a request's id -> its row, for the reply to point at
  #beat = null; // the row of the heartbeats, while nothing else has come after them
  #earlier = []; // rows that are not in the page now
  #gone = 0; // rows that were older than these
  #back = element("button", "plain earlier");

  constructor(list) {
    this.#list = list;
    this.#scroller = list.closest(".scroller");
    this.#back.hidden = true;
    this.#back.onclick = () => this.#showEarlier();
    list.before(this.#back);
  }

  // From the browser to the server. With an id, it is a request that waits for its reply.
  sent(title, text, id) {
    const row = this.#row("client", title, text, id);
    if (id !== undefined) {
      row.sentAt = performance.now();
      row.item.classList.add("waits");
      row.far.textContent = "no reply yet";
      this.#requests.set(id, row);
    }
    return {
      answered(status, why) {
        row.back.textContent = String(status);
        if (status >= 400) row.item.classList.add("bad");
        if (why) row.far.textContent = why;
      },
      lost(why) {
        // The first reason counts: a broken stream also breaks the POST.
        if (row.item.classList.contains("lost")) return;
        row.item.classList.remove("waits");
        row.item.classList.add("bad", "lost");
        row.far.textContent = why;
      },
    };
  }

  // From the server to the browser. With an id, it is the reply to that request.
  received(title, text, id) {
    const row = this.#row("server", title, text, id);
    const request = this.#requests.get(id);
    if (request === undefined) return;
    this.#requests.delete(id);
    const took = `${Math.round(performance.now() - request.sentAt)} ms`;
    request.item.classList.remove("waits");
    request.far.replaceChildren("answered by ", link(row.number), ` after ${took}`);
    row.far.replaceChildren("the reply to ", link(request.number));
  }

  // A sign of life. Those that come one after the other share a row.
  heartbeat() {
    if (this.#beat === null) {
      const item = element("li", "row server beat");
      const text = element("p", "card");
      item.append(text, element("div", "arrow"));
      this.#add(item);
      this.#beat = { text, count: 0 };
    }
    this.#beat.count += 1;
    const time = new Date().toLocaleTimeString("en-GB");
    this.#beat.text.textContent = `heartbeat × ${this.#beat.count}, last at ${time}`;
  }

  notice(text) {
    this.#add(element("li", "notice", text));
  }

  #row(from, title, text, id) {
    this.#number += 1;
    const item = element("li", `row ${from}`);
    item.id = `message-${this.#number}`;
    if (from === "client" && id !== undefined) item.dataset.request = String(id);
    const card = element("div", "card");
    const head = element("p", "head", title);
    if (id !== undefined) {
      const chip = element("span", "chip", `id ${id}`);
      // A request and its reply have the same colour, as they have the same id.
      chip.style.setProperty("--hue", String((Number(id) * 67) % 360 || 0));
      head.append(" ", chip);
    }
    const kind = kindOf(text);
    if (kind === "notification" || kind === "error") {
      head.append(" ", element("span", `chip ${kind}`, kind));
    }
    card.append(head, wire(text));

    const arrow = element("div", "arrow");
    const direction = from === "client" ? "browser to server" : "server to browser";
    const badge = element("span", "badge", String(this.#number));
    const back = element("span", "back");
    arrow.append(badge, element("span", "unseen", ` ${direction}`), back);
    const far = element("p", "far", kind === "notification" ? "gets no reply" : "");
    item.append(card, arrow, far);
    this.#add(item, () => {
      const block = card.querySelector("pre");
      // To ask for a height takes time. A short text has none to ask for.
      if (text.length > 100 && block.scrollHeight > block.clientHeight + 1) showAll(card, text);
    });
    return { item, back, far, number: this.#number };
  }

  // `finish` is for what can be done only to a row that has its size.
  #add(item, finish = () => {}) {
    this.#beat = null;
    this.#list.append(item);
    finish();
    if (this.#list.childElementCount <= MOST_ROWS) return;
    // The scroller is upside down: 0 is its end. Whoever reads earlier messages keeps them.
    const most = this.#scroller.scrollTop > -60 ? MOST_ROWS : MOST_KEPT;
    while (this.#list.childElementCount > most) this.#setAside();
  }

  // Take the oldest row out of the page.
  #setAside() {
    const oldest = this.#list.firstElementChild;
    oldest.remove();
    this.#earlier.push(oldest);
    if (this.#earlier.length > MOST_KEPT) {
      this.#requests.delete(Number(this.#earlier.shift().dataset.request));
      this.#gone += 1;
    }
    this.#countEarlier();
  }

  #showEarlier() {
    this.#list.prepend(...this.#earlier.splice(-MOST_ROWS));
    this.#countEarlier();
  }

  #countEarlier() {
    const count = this.#earlier.length;
    this.#back.hidden = count === 0;
    this.#back.textContent = `Show earlier messages (${count}${this.#gone ? `, ${this.#gone} more are gone` : ""})`;
  }
}
