// The cart: change quantities, see what it costs.
import { html, show, art, sum, field, showErrors, toast } from '../page.js';
import { state, save, cartLines, quantityOf, setQuantity } from '../state.js';
import { totals, refusal, linePrice, pounds, FREE_DELIVERY_FROM } from '../totals.js';

const row = (line) => html`
  <li data-testid="line-${line.product.id}">
    ${art(line.product.id, line.product.tint)}
    <span><a href="#/product/${line.product.id}">${line.product.name}</a><br><span class="unit">${pounds(line.product.price)} each</span></span>
    <span class="price" data-testid="line-price">${pounds(linePrice(line))}</span>
    <span class="tools">
      <span class="stepper" role="group" aria-label="Quantity of ${line.product.name}">
        <button data-id="${line.product.id}" data-by="-1" aria-label="One less">−</button><output>${line.quantity}</output><button data-id="${line.product.id}" data-by="1" aria-label="One more">+</button>
      </span>
      <button class="plain" data-id="${line.product.id}" data-by="-99" aria-label="Remove ${line.product.name}">Remove</button>
    </span>
  </li>`;

export function cart(root) {
  function draw() {
    const lines = cartLines();
    if (lines.length === 0) {
      show(root, html`<div class="empty stack"><svg aria-hidden="true"><use href="art.svg#basket"/></svg>
        <h1>Your cart is empty</h1><p>The bread is still warm.</p><a class="button main" href="#/">Go to the shop</a></div>`);
      return;
    }
    const { subtotal, discount, delivery, total } = totals(lines, state.code);
    show(root, html`
      <h1>Your cart</h1>
      <ul class="lines" aria-label="Cart">${lines.map(row)}</ul>
      <p class="notice">${delivery ? `${pounds(FREE_DELIVERY_FROM - subtotal)} more and delivery is free.` : 'Delivery is free.'}</p>
      <form class="code" novalidate>${field('code', 'Discount code', html`autocapitalize="characters" autocomplete="off"`, state.code)}<button>Apply</button></form>
      <dl class="sums">
        ${sum('Subtotal', subtotal, 'subtotal')}
        ${discount > 0 && sum(`Discount ${state.code}`, -discount, 'discount')}
        ${sum('Delivery', delivery, 'delivery')}
        <div class="total"><dt>Total</dt><dd data-testid="total">${pounds(total)}</dd></div>
      </dl>
      <a class="button main" href="#/checkout">Check out</a>`);
    root.querySelector('.code').onsubmit = (event) => {
      event.preventDefault();
      apply(event.target, subtotal);
    };
  }

  function apply(form, subtotal) {
    const code = form.elements.code.value.trim().toUpperCase();
    const problem = code && refusal(code, subtotal);
    if (problem) return showErrors(form, { code: problem });
    state.code = code;
    save();
    toast(code ? `${code} applied` : 'Code removed');
    draw();
  }

  root.onclick = (event) => {
    const { id, by } = event.target.dataset;
    if (!id || !by) return;
    setQuantity(id, quantityOf(id) + Number(by));
    draw();
  };
  draw();
}
