// One product: what it is, how many, into the cart.
import { html, show, art, toast } from '../page.js';
import { product } from '../products.js';
import { quantityOf, setQuantity } from '../state.js';
import { pounds } from '../totals.js';

export function productPage(root, { parts: [id] }) {
  const p = product(id);
  if (!p) {
    show(root, html`<div class="empty stack"><h1>Not sold here</h1><p>We have no product “${id}”.</p><a class="button main" href="#/">Back to the shop</a></div>`);
    return;
  }
  document.title = `${p.name} · Corner Shop`;
  let count = 1;

  show(root, html`
    <article class="stack">
      ${art(p.id, p.tint, 'hero')}
      <h1>${p.name}</h1>
      <p><span class="price" data-testid="price">${pounds(p.price)}</span> <span class="unit">${p.unit} · ${p.category}</span></p>
      <p>${p.about}</p>
      <div class="stepper" role="group" aria-label="Quantity">
        <button data-by="-1" aria-label="One less">−</button><output data-testid="quantity">1</output><button data-by="1" aria-label="One more">+</button>
      </div>
      <button class="main" data-add></button>
    </article>`);

  function draw() {
    root.querySelector('output').textContent = count;
    root.querySelector('[data-by="-1"]').disabled = count === 1;
    root.querySelector('[data-by="1"]').disabled = count === 20;
    root.querySelector('[data-add]').textContent = `Add ${count} to cart · ${pounds(count * p.price)}`;
  }

  root.querySelector('.stepper').onclick = (event) => {
    count += Number(event.target.dataset.by || 0);
    draw();
  };
  root.querySelector('[data-add]').onclick = () => {
    setQuantity(p.id, quantityOf(p.id) + count);
    toast(`${count} × ${p.name} added`);
  };
  draw();
}
