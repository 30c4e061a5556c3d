// The first visit: three cards that say what the shop is.
import { html, show } from '../page.js';
import { state, save } from '../state.js';

const cards = [
  ['bread', 'Good food from round the corner', 'Bakers, farmers and roasters of your own town, in one shop.'],
  ['milk', 'At your door today', 'Order before four and we come by bicycle the same evening.'],
  ['honey', 'Nothing to waste', 'Paper, glass and bottles that go back. Delivery is free from £30.'],
];

export function welcome(root) {
  let at = 0;

  function leave() {
    state.welcomed = true;
    save();
    location.hash = '#/';
  }

  function draw() {
    const [picture, title, text] = cards[at];
    const last = at === cards.length - 1;
    show(root, html`
      <section class="welcome stack" aria-label="Welcome, ${at + 1} of ${cards.length}">
        <svg aria-hidden="true"><use href="art.svg#${picture}"/></svg>
        <h1>${title}</h1>
        <p>${text}</p>
        <div class="dots" aria-hidden="true">${cards.map((_, i) => html`<i class="${i === at ? 'on' : ''}"></i>`)}</div>
        <button class="main" data-go="next">${last ? 'Start shopping' : 'Next'}</button>
        <button class="plain" data-go="skip" ${last ? html`hidden` : ''}>Skip</button>
      </section>`);
    root.querySelector('[data-go=skip]').onclick = leave;
    root.querySelector('[data-go=next]').onclick = () => {
      if (last) return leave();
      at += 1;
      draw();
    };
  }

  draw();
}
