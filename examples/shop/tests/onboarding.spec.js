const { test, expect } = require('@playwright/test');

const heading = (page) => page.getByRole('heading', { level: 1 });

test('a first visit is led through the welcome', async ({ page }) => {
  await test.step('any address leads to the welcome', async () => {
    await page.goto('./#/cart');
    await expect(page).toHaveURL(/#\/welcome$/);
    await expect(heading(page)).toHaveText('Good food from round the corner');
    await expect(page.getByRole('navigation', { name: 'Main' })).toBeHidden();
  });
  await test.step('three cards, the last without Skip', async () => {
    await page.getByRole('button', { name: 'Next' }).click();
    await expect(heading(page)).toHaveText('At your door today');
    await page.getByRole('button', { name: 'Next' }).click();
    await expect(heading(page)).toHaveText('Nothing to waste');
    await expect(page.getByRole('button', { name: 'Skip' })).toBeHidden();
  });
  await test.step('then the shop opens', async () => {
    await page.getByRole('button', { name: 'Start shopping' }).click();
    await expect(heading(page)).toHaveText("What's good today");
  });
});

test('the welcome can be skipped and does not come back', async ({ page }) => {
  await page.goto('./');
  await page.getByRole('button', { name: 'Skip' }).click();
  await expect(heading(page)).toHaveText("What's good today");
  await page.reload();
  await expect(heading(page)).toHaveText("What's good today");
  await expect(page).not.toHaveURL(/welcome/);
});
