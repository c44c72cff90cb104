// Pages opened from disk may not start workers: there, the search runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) =>
        setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data })));
      const script = inside.document.createElement("script");
      script.src = url;
      this.ready = new Promise((ready) => script.addEventListener("load", ready));
      inside.document.body.append(script);
    }

    postMessage(data) {
      const { contentWindow } = this.frame;
      this.ready.then(() =>
        contentWindow.dispatchEvent(new contentWindow.MessageEvent("message", { data })),
      );
    }

    terminate() {
      this.frame.remove();
    }
  };
}
