"use strict";
const field = (id) => document.getElementById(id);
const say = (text) => { field("outcome").textContent = text; };
field("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (field("password").value !== field("again").value) {
    say("The two passwords differ.");
    return;
  }
  say("One moment…");
  const answer = await fetch("/api/v1/setup", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      token: location.hash.slice(1),
      name: field("name").value,
      password: field("password").value,
    }),
  });
  if (answer.ok) {
    field("form").remove();
    say("Done. You can log in now.");
  } else {
    const error = await answer.json();
    say(`${error.message}: ${error.hint}.`);
  }
});
