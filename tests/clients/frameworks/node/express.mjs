// An Express application that answers which handler ran. `node express.mjs <express|express4> <files>` prints its port.
import methodOverride from 'method-override';
import vhost from 'vhost';

const [, , version, files] = process.argv;
const { default: express } = await import(version);
const ran = (name) => (_request, response) => response.set('x-handler', name).type('text').send(name);

const staff = express();
staff.get('/panel', ran('panel of admin.test'));
staff.use(ran('admin.test'));

const admin = express.Router();
admin.get('/x', ran('admin x'));
admin.use(ran('admin'));

const app = express();
if (process.env.OVERRIDES) {
  // The three headers of the package's README, and every method may be overridden.
  for (const name of ['X-HTTP-Method', 'X-HTTP-Method-Override', 'X-Method-Override']) {
    app.use(methodOverride(name, { methods: null }));
  }
  // As Symfony and Zend did, and IIS's wfastcgi does (`handle_response` in wfastcgi.py).
  app.use((request, _response, next) => {
    request.url = request.get('X-Original-URL') ?? request.get('X-Rewrite-URL') ?? request.url;
    next();
  });
}
app.use(vhost('admin.test', staff));
app.get('/public', ran('public'));
app.use('/open', ran('open'));
app.use('/admin', admin);
app.all('/secret', ran('secret'));
app.get('/items', ran('items read'));
app.post('/items', ran('items write'));
app.delete('/items', ran('items write'));
app.post('/notes', ran('notes add'));
app.delete('/notes', ran('notes delete'));
app.get('/panel', ran('panel'));
app.get('/me', ran('me'));
const mark = (response, path) => response.set('x-handler', path.includes('private') ? 'private file' : 'file');
app.use('/files', express.static(files, { setHeaders: mark }));
app.use((_request, response) => response.status(404).set('x-handler', 'none').send('none'));
app.use((_error, _request, response, _next) => response.status(400).set('x-handler', 'none').send('none'));

const server = app.listen(0, '127.0.0.1', () => console.log(`listens on ${server.address().port} `));
