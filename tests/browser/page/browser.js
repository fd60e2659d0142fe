// What the WebAssembly imports. Lines are shown on the page, and sent to where it comes from.

let memory;
let lines = [];
let sending = Promise.resolve();
let woken = false;
let resume;

export function setMemory(value) {
    memory = value;
}

export function show(text) {
    document.body.append(text + "\n");
    lines.push(text);
    sending = sending.then(async () => {
        const body = lines.splice(0).map((line) => line + "\n").join("");
        if (body !== "") await fetch("/lines", { method: "POST", body });
    });
}

export async function end(status) {
    await sending;
    await fetch("/end", { method: "POST", body: String(status) });
}

export function print(text, bytes) {
    show(new TextDecoder().decode(new Uint8Array(memory.buffer, text, bytes)));
}

export function filter(text, capacity) {
    const wanted = new URLSearchParams(location.search).get("filter") ?? "";
    return new TextEncoder().encodeInto(wanted, new Uint8Array(memory.buffer, text, capacity)).written;
}

// Until `wake` is called, or at once if it has been since the last time.
export const suspend = new WebAssembly.Suspending(() => {
    if (woken) {
        woken = false;
        return Promise.resolve();
    }
    return new Promise((resolve) => {
        resume = resolve;
    });
});

export function wake() {
    if (resume === undefined) {
        woken = true;
        return;
    }
    const resolve = resume;
    resume = undefined;
    resolve();
}
