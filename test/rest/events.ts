// Server-sent events from the body of an answer: what a browser's EventSource does, for a caller that must send a token.

/** One event of a stream. */
export interface ServerEvent {
	event: string;
	id: string;
	data: string;
}

/** Yields the events of a stream until it ends. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
	const decoder = new TextDecoder();
	let text = "";
	for await (const piece of body) {
		text += decoder.decode(piece, { stream: true });
		for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
			const event = parse(text.slice(0, end));
			text = text.slice(end + 2);
			if (event.data !== "") yield event;
		}
	}
}

/** The lines of one event. What begins with a colon is only a sign of life. */
function parse(block: string): ServerEvent {
	const event = { event: "message", id: "", data: "" };
	for (const line of block.split("\n")) {
		const [, field, value] = /^(\w*): ?(.*)$/.exec(line) ?? [];
		if (field === "event" || field === "id" || field === "data") event[field] = value ?? "";
	}
	return event;
}
