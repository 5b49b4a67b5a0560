// Copies a block of code. Without a clipboard, on a page that is not secure, the button stays hidden.
"use strict";

(() => {
  if (!navigator.clipboard) return;
  document.querySelectorAll("[data-copy]").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const icon = button.querySelector("[aria-hidden]");
      try {
        await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
        icon.textContent = "check";
      } catch {
        icon.textContent = "error";
      }
      window.setTimeout(() => {
        icon.textContent = "content_copy";
      }, 2000);
    });
  });
})();
