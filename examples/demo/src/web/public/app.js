fetch('version.txt')
  .then(answer => answer.text())
  .then(version => {
    document.getElementById('version').textContent = version.trim()
  })
