// A mailbox for async functions: the usual queue with a waiting reader. The ring of items is an
// array with a moving head, as `shift` costs O(n) on a long one.
export class Mailbox {
  constructor() {
    this.items = [];
    this.head = 0;
    this.reader = null;
  }

  put(item) {
    if (this.reader) {
      const reader = this.reader;
      this.reader = null;
      reader(item);
    } else {
      this.items.push(item);
    }
  }

  get() {
    if (this.head < this.items.length) {
      const item = this.items[this.head];
      this.items[this.head++] = undefined;
      if (this.head === this.items.length) {
        this.items = [];
        this.head = 0;
      }
      return item;
    }
    return new Promise((resolve) => { this.reader = resolve; });
  }
}
