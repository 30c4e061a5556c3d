// Follows the reader's choice of light or dark, and says when there is nothing to show.
const viewer = document.querySelector('rapi-doc');
const dark = window.matchMedia('(prefers-color-scheme: dark)');

function paint() {
  viewer.setAttribute('theme', dark.matches ? 'dark' : 'light');
  viewer.setAttribute('bg-color', dark.matches ? '#15181d' : '#ffffff');
}

paint();
dark.addEventListener('change', paint);
viewer.addEventListener('spec-load-error', () => {
  document.getElementById('failed').hidden = false;
});
viewer.addEventListener('spec-loaded', () => {
  document.documentElement.dataset.loaded = 'true';
});
