// The conversation as two columns, the browser and the server, with an arrow for each message.
// Text from the wire becomes text in the page: textContent never makes HTML of it.

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// Of a message, in characters. A page that shows a megabyte of it freezes for seconds.
const MOST_SHOWN = 20_000;

// A page that stays open for days must not keep every message of those days.
const MOST_ROWS = 500;

// The text as it went over the wire. JSON has no spaces there: let its lines break at commas.
function wire(text) {
  const block = element("pre", "");
  const shown = text.slice(0, MOST_SHOWN);
  for (const part of shown.split(/(?<=,)/)) block.append(part, document.createElement("wbr"));
  if (text.length > MOST_SHOWN) block.append(` … ${text.length - MOST_SHOWN} characters more`);
  block.tabIndex = 0; // it may scroll
  return block;
}

export class Conversation {
  #list;
  #number = 0;
  #dropped = null; // the row that says how many older ones are gone
  #requests = new Map(); // a request's id -> its row, for the reply to point at

  constructor(list) {
    this.#list = list;
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
    card.append(head, wire(text));

    const arrow = element("div", "arrow");
    const direction = from === "client" ? "browser to server" : "server to browser";
    const badge = element("span", "badge", String(this.#number));
    const back = element("span", "back");
    arrow.append(badge, element("span", "unseen", ` ${direction}`), back);
    const far = element("p", "far");
    item.append(card, arrow, far);
    this.#add(item);
    return { item, back, far, number: this.#number };
  }

  #add(item) {
    const scroller = this.#list.parentElement;
    // Follow the conversation, unless the reader has scrolled up.
    const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
    this.#list.append(item);
    if (this.#list.childElementCount > MOST_ROWS) this.#dropOldest();
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
  }

  #dropOldest() {
    if (this.#dropped === null) {
      this.#dropped = element("li", "notice");
      this.#dropped.dataset.count = "0";
      this.#list.prepend(this.#dropped);
    }
    let count = Number(this.#dropped.dataset.count);
    while (this.#list.childElementCount > MOST_ROWS) {
      const oldest = this.#dropped.nextElementSibling;
      this.#requests.delete(Number(oldest.dataset.request));
      oldest.remove();
      count += 1;
    }
    this.#dropped.dataset.count = String(count);
    this.#dropped.textContent = `${count} older messages are no longer shown.`;
  }
}

function link(number) {
  const made = element("a", "", String(number));
  made.href = `#message-${number}`;
  return made;
}
