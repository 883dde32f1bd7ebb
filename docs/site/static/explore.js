// Battles: a link of the table puts its picture into the frame. Temperature: the slider moves along committed rows.
(() => {
  const battles = document.querySelector("#battle-picker");
  if (battles) {
    const picture = battles.querySelector("img");
    const caption = battles.querySelector("figcaption");
    const links = [...battles.querySelectorAll("a")];
    const show = (link) => {
      picture.src = link.href;
      picture.alt = caption.textContent = link.title;
      links.forEach((other) => other.toggleAttribute("aria-current", other === link));
    };
    links.forEach((link) => link.addEventListener("click", (event) => {
      event.preventDefault();
      show(link);
    }));
    show(links[0]);
  }

  const source = document.querySelector("#rows");
  if (!source) return;
  const cells = JSON.parse(source.textContent);
  const [dataset, algorithm, slider, reading, plot] =
    ["dataset", "algorithm", "slider", "reading", "plot"].map((id) => document.getElementById(id));
  const name = (cell) => `${cell.map} ${cell.level}`;
  const fill = (select, words) => {
    const before = select.value;
    select.replaceChildren(...[...new Set(words)].map((word) => new Option(word, word)));
    if (words.includes(before)) select.value = before;
  };
  const chosen = () => cells.find((cell) => name(cell) === dataset.value && cell.algorithm === algorithm.value);

  const draw = () => {
    const { points } = chosen();
    const at = Math.min(Number(slider.value), points.length - 1);
    // the scale is that of all algorithms on this data set, so that they can be compared
    const all = cells.filter((cell) => name(cell) === dataset.value).flatMap((cell) => cell.points);
    const low = Math.min(...all.map((p) => p.mean - p.std)), high = Math.max(...all.map((p) => p.mean + p.std));
    const margin = 0.08 * (high - low || 1);
    const x = (i) => 60 + (i * 550) / (points.length - 1);
    const y = (v) => 250 - ((v - low + margin) * 220) / (high - low + 2 * margin);
    const ticks = [low, (low + high) / 2, high];
    plot.innerHTML =
      ticks.map((v) => `<line class="grid" x1="50" x2="620" y1="${y(v)}" y2="${y(v)}"/><text x="44" y="${y(v) + 4}" text-anchor="end">${v.toFixed(1)}</text>`).join("") +
      `<polyline points="${points.map((p, i) => `${x(i)},${y(p.mean)}`).join(" ")}"/>` +
      points.map((p, i) => `<line class="bar" x1="${x(i)}" x2="${x(i)}" y1="${y(p.mean - p.std)}" y2="${y(p.mean + p.std)}"/>` +
        `<circle cx="${x(i)}" cy="${y(p.mean)}" r="${i === at ? 9 : 4}" class="${i === at ? "here" : ""}"/>` +
        `<text x="${x(i)}" y="280" text-anchor="middle">${p.name}</text>`).join("") +
      `<text x="10" y="16">return, mean over seeds ± 1 std</text>`;
    const p = points[at];
    const share = p.share === null ? "" : `, share of the data ${p.share.toFixed(2)}`;
    reading.textContent = `${p.name} (${p.changes}): return ${p.mean.toFixed(2)} ± ${p.std.toFixed(2)}, ${Math.round(100 * p.wins)}% of the battles won${share}`;
  };
  const choose = () => {
    fill(algorithm, cells.filter((cell) => name(cell) === dataset.value).map((cell) => cell.algorithm));
    slider.max = chosen().points.length - 1;
    draw();
  };
  fill(dataset, cells.map(name));
  dataset.addEventListener("change", choose);
  algorithm.addEventListener("change", choose);
  slider.addEventListener("input", draw);
  choose();
})();
