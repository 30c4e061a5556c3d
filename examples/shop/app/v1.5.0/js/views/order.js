// An order that was placed.
import { html, show } from '../page.js';
import { state } from '../state.js';
import { pounds } from '../totals.js';

export function order(root, { parts: [number] }) {
  const found = state.orders.find((o) => o.number === number);
  if (!found) {
    show(root, html`<div class="empty stack"><h1>No such order</h1><p>Order ${number} is not on this phone.</p><a class="button main" href="#/account">Your orders</a></div>`);
    return;
  }
  show(root, html`
    <div class="empty stack">
      <svg aria-hidden="true"><use href="art.svg#basket"/></svg>
      <h1>Thank you, ${found.name.split(' ')[0]}</h1>
      <p>Order <strong data-testid="order-number">${found.number}</strong> is on its way.</p>
    </div>
    <dl class="sums">
      ${found.lines.map((line) => html`<div><dt>${line.name}</dt><dd>× ${line.quantity}</dd></div>`)}
      <div><dt>Delivery</dt><dd data-testid="slot">${found.slot}</dd></div>
      <div class="total"><dt>To pay at the door</dt><dd data-testid="order-total">${pounds(found.total)}</dd></div>
    </dl>
    <a class="button main" href="#/">Back to the shop</a>`);
}
